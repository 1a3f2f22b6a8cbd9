"""The YAML file of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_sam2_adapters.cli.settings_file import load_settings
from napari_sam2_adapters.config import ClassInfo, ModelConfig, Normalization, TrainConfig


class TestSettingsFile:
    """A YAML file with a section per group."""

    def write(self, folder: Path, text: str) -> Path:
        path = folder / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def test_its_sections_are_settings(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path,
            "model: {adapter: lw, input_channels: 2}\ntrain:\n  steps: 20\n"
            "normalization: {mode: range, low: 0, high: 255}\n"
            "classes:\n- {value: 1, name: Zellen, color: '#00ff00'}\n",
        )
        content = load_settings(path)
        assert ModelConfig(**content["model"]).adapter == "lw"
        assert TrainConfig(**content["train"]).steps == 20
        assert Normalization(**content["normalization"]).high == 255
        assert [ClassInfo(**c).name for c in content["classes"]] == ["Zellen"]  # type: ignore[arg-type]

    @pytest.mark.parametrize("text", ["", "# only a remark\n"])
    def test_an_empty_file_sets_nothing(self, tmp_path: Path, text: str) -> None:
        assert load_settings(self.write(tmp_path, text)) == {}

    @pytest.mark.parametrize(
        "text",
        [
            "model: [1,",
            "a: b: c",
            "\tmodel: 1",
            "train: {steps: 2020-13-45}",
            "train: {steps: !!int x}",
            "predict: {bfloat16: !!bool x}",
            "[" * 3000,
        ],
    )
    def test_what_is_not_yaml_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ValueError, match="is not valid YAML"):
            load_settings(self.write(tmp_path, text))

    def test_where_it_is_not_yaml_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="in line 2, column 5:") as raised:
            load_settings(self.write(tmp_path, "model: {adapter: lw}\na: b: c"))
        assert "unicode" not in str(raised.value)

    def test_a_colour_without_quotes_that_swallows_the_rest_is_named(self, tmp_path: Path) -> None:
        text = "classes:\n- {value: 1, name: a, color: #3b6ea5}\n- {value: 2, name: b}\n"
        with pytest.raises(ValueError, match=r'(?s)not valid YAML.* Line 2 .* as "#3b6ea5"\.'):
            load_settings(self.write(tmp_path, text))

    @pytest.mark.parametrize(
        ("text", "twice"),
        [
            ("train: {steps: 20}\nmodel: {adapter: lw}\ntrain: {batch_size: 4}", "train"),
            ("train:\n  steps: 20\n  batch_size: 4\n  steps: 30", "steps"),
            ("classes:\n- {value: 1, name: a, value: 2}", "value"),
            ("train: {1: a, 0x1: b}", "0x1"),
            ("train: {yes: a, true: b}", "true"),
            ("train: {1: a, '1': b}", "1"),
        ],
    )
    def test_what_is_there_twice_is_refused(self, tmp_path: Path, text: str, twice: str) -> None:
        with pytest.raises(ValueError, match=f"'{twice}' is there twice\n.*line"):
            load_settings(self.write(tmp_path, text))

    def test_what_is_merged_is_not_there_twice(self, tmp_path: Path) -> None:
        text = "extras: &b {x: 1}\nmodel: {deep: &c {<<: *b, x: 2}}\ntrain: {<<: *c, y: 3}"
        found = load_settings(self.write(tmp_path, text))
        assert found == {"extras": {"x": 1}, "model": {"deep": {"x": 2}}, "train": {"x": 2, "y": 3}}

    @pytest.mark.parametrize("name", ["x", "steps"], ids=["short", "long"])
    def test_the_first_of_several_that_are_merged_counts(self, tmp_path: Path, name: str) -> None:
        text = (
            f"extras: &a {{{name}: 1, one: 1}}\nmodel: &b {{{name}: 2, two: 2}}\n"
            "train: {<<: [*a, *b], three: 3}\npredict: {<<: *b}"
        )
        found = load_settings(self.write(tmp_path, text))
        assert found["train"] == {name: 1, "one": 1, "two": 2, "three": 3}
        assert found["predict"] == found["model"] == {name: 2, "two": 2}

    def test_merged_many_times_over_is_not_slow(self, tmp_path: Path) -> None:
        levels = "".join(
            f"  a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 40)
        )
        found = load_settings(self.write(tmp_path, "extras:\n  a0: &a0 {steps: 1}\n" + levels))
        assert found["extras"]["a39"] == {"steps": 1}

    @pytest.mark.parametrize(
        ("what", "found"), [("3", "'3'"), ("[hp, *b]", "'hp'"), ("[*b, [*b]]", "a list")]
    )
    def test_what_is_no_mapping_is_not_merged(self, tmp_path: Path, what: str, found: str) -> None:
        text = f"extras: &b {{x: 1}}\ntrain: {{<<: {what}}}"
        with pytest.raises(ValueError, match=f"of mappings to merge, but found {found}"):
            load_settings(self.write(tmp_path, text))

    def test_yaml_runs_no_code(self, tmp_path: Path) -> None:
        mark = tmp_path / "was-run"
        text = f"model: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]"
        with pytest.raises(ValueError, match="is not valid YAML"):
            load_settings(self.write(tmp_path, text))
        assert not mark.exists()

    def test_a_misspelt_section_is_told_the_right_one(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"modle: did you mean model\?"):
            load_settings(self.write(tmp_path, "modle: {}"))

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no settings file .*nowhere.yaml"):
            load_settings(tmp_path / "nowhere.yaml")

    @pytest.mark.parametrize(
        ("text", "got"),
        [("modle: {}", "'modle'"), ("- model", "list"), ("hello", "str"), ("1: {}", "'1'")],
    )
    def test_other_sections_are_refused(self, tmp_path: Path, text: str, got: str) -> None:
        with pytest.raises(ValueError, match=f"should have the sections .* but has .*{got}"):
            load_settings(self.write(tmp_path, text))


def test_settings_that_are_not_text_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"train: {steps: 3} # \xff\xfe")
    with pytest.raises(ValueError, match="is not valid YAML"):
        load_settings(path)
