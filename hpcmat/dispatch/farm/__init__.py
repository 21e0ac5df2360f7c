"""Task farm for small Python tasks where TCP to every node does not do (Fugaku beyond 512 nodes).

Managers are the ranks of one MPI job, one on each node, as a tree with the first as its root: each hands tasks to the
ranks below it and to its own workers, and streams results upwards in batches. The driver is no rank. It starts the job
and listens on one socket to which the root connects, for three reasons: most MPI libraries end the whole job when one
process of it dies, which the driver must outlive; a driver in the job would have to call MPI in every idle moment; and
no dynamic processes are needed, which Fugaku forbids beside other programs.

Workers are not ranks either. Each manager keeps them as plain processes, forked from a clean server that was started
before MPI was. What dies is therefore tolerated as follows:

- a task that raises: its exception arrives at the driver;
- a worker that dies: the manager reports the one task it had as `WorkerLost`, and starts another;
- a manager that dies, or the launcher: MPI ends all of them. Tasks that were out fail as `FarmLost`, those
  that waited in the driver stay, and the job is started anew. Where MPI does not end the job, silence does;
- the driver that dies: the root sees its socket close and ends the job.

Tasks in a worker that make processes of their own (`hpcmat.dispatch.worker.perform`) fork from a process without MPI.
None of this was run on Fugaku.
"""
