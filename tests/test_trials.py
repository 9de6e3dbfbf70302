import numpy as np
import pandas as pd
import pytest

from bids_decoder.trials import (
    KEPT,
    OWN_COLUMNS,
    Person,
    Targets,
    VoxelGrid,
    rule_columns,
    table_key,
)


@pytest.fixture
def grid():
    mask = np.zeros((3, 4, 5), dtype=bool)
    mask[0, 1, 2] = mask[2, 3, 4] = mask[2, 0, 1] = True
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = [10, 20, 30]
    return VoxelGrid(mask, affine)


def test_voxels_are_in_c_order(grid):
    assert grid.indices.tolist() == [[0, 1, 2], [2, 0, 1], [2, 3, 4]]
    assert grid.n_voxels == 3
    assert grid.coordinates.tolist() == [[10, 23, 38], [14, 20, 34], [14, 29, 46]]
    np.testing.assert_allclose(grid.mask[tuple(grid.indices.T)], True)


def test_sizes_with_rotation():
    turn = np.array([[0, -2.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 4.0, 0], [0, 0, 0, 1]])
    grid = VoxelGrid(np.ones((2, 2, 2), dtype=bool), turn)
    assert grid.voxel_volume == pytest.approx(24)


@pytest.mark.parametrize(("shape", "geometric"), [
    ((1, 1, 100), False), ((100, 1, 1), False), ((1, 5, 5), True), ((2, 2, 2), True),
])
def test_mere_containers_have_no_geometry(shape, geometric):
    assert VoxelGrid(np.ones(shape, dtype=bool), np.eye(4)).has_geometry is geometric


def test_values_go_back_to_where_they_were(grid):
    values = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    volume = grid.to_volume(values, fill=-1)
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume[grid.mask], values)
    assert (volume[~grid.mask] == -1).all()
    several = grid.to_volume(np.stack([values, 2 * values]))
    assert several.shape == (3, 4, 5, 2)
    np.testing.assert_array_equal(several[grid.mask], np.stack([values, 2 * values]).T)


def test_rows_of_targets():
    targets = Targets(("a", "b", "10"), np.eye(3, dtype=np.float32), "features")
    assert targets.rows_of(np.array(["10", "a", "a"])).tolist() == [2, 0, 0]
    with pytest.raises(KeyError):
        targets.rows_of(np.array(["1"]))


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True])])
def test_subset_of_a_person(grid, rows):
    betas = np.arange(9, dtype=np.float32).reshape(3, 3)
    trials = pd.DataFrame({"run_group": ["r1", "r2", "r3"], "trial": [1, 2, 3]})
    person = Person("01", grid, betas, trials, np.array([5, 6, 7]))
    part = person.subset(rows)
    chosen = [2, 0] if rows.dtype != bool else [0, 2]
    np.testing.assert_array_equal(part.betas, betas[chosen])
    assert part.trials["trial"].tolist() == [row + 1 for row in chosen]
    assert part.trials.index.tolist() == [0, 1]
    assert part.target_rows.tolist() == [row + 5 for row in chosen]
    assert part.run_groups.tolist() == [f"r{row + 1}" for row in chosen]


def test_rules_see_kept_columns_and_those_of_the_table():
    table = pd.DataFrame({name: ["a", "b"] for name in OWN_COLUMNS}).assign(session=None)
    kept = table.assign(**{f"{KEPT}sense": ["seen", "heard"], f"{KEPT}session": ["1", "2"],
                           f"{KEPT}label": ["x", "y"]})
    view = rule_columns(kept)
    assert view["sense"].tolist() == ["seen", "heard"]
    # There are no sessions, and labels may have been renamed.
    assert view["session"].tolist() == ["1", "2"] and view["label"].tolist() == ["a", "b"]
    assert table_key(kept) == table_key(table)
