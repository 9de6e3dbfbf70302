from bids_decoder.cli.scratch import HOME, discard_other_build, empty_folder, remove_unused


def test_folder_of_a_call_that_did_not_begin_goes_unless_an_equal_call_began(tmp_path):
    work = tmp_path / "out" / "work" / "call-0"
    for began in (False, True):
        work.mkdir(parents=True)
        (work / HOME).mkdir()
        if began:
            discard_other_build(work)
        remove_unused(work, tmp_path)
        assert work.exists() == began
    assert not empty_folder(work)
    (work / "node").mkdir()
    assert empty_folder(work)
    assert not (work / "node").exists()
