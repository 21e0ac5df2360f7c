import tomllib
from pathlib import Path

import pytest

from hpcmat.campaign.spec import canonical_spec_json
from hpcmat.campaign.specification import parse_specification
from hpcmat.report.toml_text import campaign_toml

JOBS = sorted((Path(__file__).parents[2] / "jobs" / "campaigns").glob("*.toml"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_campaign_file_in_the_report_means_the_same_campaign(path):
    campaign = parse_specification(tomllib.loads(path.read_text()), path)
    again = parse_specification(tomllib.loads(campaign_toml(campaign)), path)
    assert canonical_spec_json(again) == canonical_spec_json(campaign)


def test_text_with_quotes_and_lines_survives(made_up):
    builder = made_up()
    builder.spec["governance"]["creators"] = ['A "quoted" name\nwith a line', "Å. Ångström"]
    builder.__post_init__()
    again = tomllib.loads(campaign_toml(builder.campaign))
    assert again["governance"]["creators"] == builder.spec["governance"]["creators"]
    # Negative control: a changed value shows.
    assert again["seed"] == 0 != 1
