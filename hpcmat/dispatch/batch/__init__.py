"""Batch scripts: a site and a request give the exact script, one module for each scheduler."""

from hpcmat.dispatch.batch.request import AllocationRequest, choose_queue
from hpcmat.dispatch.batch.script import BatchJob, batch_job

__all__ = ["AllocationRequest", "BatchJob", "batch_job", "choose_queue"]
