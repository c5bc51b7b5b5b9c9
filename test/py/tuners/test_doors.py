"""A saved adapter, loaded in a fresh process through every public door, gives the same logits bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import milora
from milora.checkpoint import attach_adapter

DOORS = ["peft", "auto_peft", "auto", "pipeline", "milora"]
PROMPT = "w5 w17 w40 w9 w77 w23"

_SCRIPT = """
import json, sys, torch
torch.set_num_threads(1)
import milora
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

folders, output, prompt = json.loads(sys.argv[1])
results, texts = {}, {}
for case, (base, adapter) in folders.items():
    load = lambda: AutoModelForCausalLM.from_pretrained(base)
    pipe = pipeline("text-generation", model=adapter)
    doors = {
        "peft": PeftModel.from_pretrained(load(), adapter),
        "auto_peft": AutoPeftModelForCausalLM.from_pretrained(adapter),
        "auto": AutoModelForCausalLM.from_pretrained(adapter),
        "pipeline": pipe.model,
        "milora": milora.load(load(), adapter),
    }
    ids = AutoTokenizer.from_pretrained(base)(prompt, return_tensors="pt").input_ids
    for door, model in doors.items():
        model.eval()
        with torch.no_grad():
            results[f"{case}/{door}"] = model(input_ids=ids).logits.contiguous()
            new = model.generate(input_ids=ids, max_new_tokens=8, do_sample=False, num_beams=3)
            results[f"{case}/{door}/generated"] = new.contiguous()
    texts[case] = pipe(prompt, max_new_tokens=8, do_sample=False, num_beams=3)[0]["generated_text"]
save_file(results, output + "/results.safetensors")
json.dump(texts, open(output + "/texts.json", "w"))
"""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<s>": 1, **{f"w{index}": index for index in range(2, 96)}}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs the fresh process once for all cases; a function of the builders, which are function-scoped."""
    results: dict[str, Any] = {}

    def run(make_case: Callable[[str], Any], names: list[str]) -> dict[str, Any]:
        if results:
            return results
        root = tmp_path_factory.mktemp("doors")
        tokenizer = tiny_tokenizer()
        ids = tokenizer(PROMPT, return_tensors="pt").input_ids
        folders: dict[str, tuple[str, str]] = {}
        for case in names:
            row = make_case(case)
            base, adapter = root / case / "base", root / case / "adapter"
            model = row.base()
            model.save_pretrained(base)
            tokenizer.save_pretrained(base)
            config = {**row.plan(model), "base_model_name_or_path": str(base)}
            peft_model = attach_adapter(model, config, "mine")
            row.randomize(peft_model, "mine")
            milora.save(peft_model, adapter, "mine")
            peft_model.eval()
            with torch.no_grad():
                results[case] = peft_model(input_ids=ids).logits
                results[f"{case}/generated"] = peft_model.generate(
                    input_ids=ids, max_new_tokens=8, do_sample=False, num_beams=3
                )
                with peft_model.disable_adapter():
                    results[f"{case}/base"] = peft_model(input_ids=ids).logits
            folders[case] = (str(base), str(adapter))
        argument = json.dumps([folders, str(root), PROMPT])
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, argument], capture_output=True, text=True, timeout=240, env=environment
        )
        assert done.returncode == 0, done.stderr[-4000:]
        results.update({f"fresh/{key}": value for key, value in load_file(root / "results.safetensors").items()})
        results["texts"] = json.loads((root / "texts.json").read_text())
        results["tokenizer"] = tokenizer
        results["root"] = root
        return results

    return run


@pytest.fixture
def results(loaded: Callable[..., Any], make_case: Callable[[str], Any], door_names: list[str]) -> dict[str, Any]:
    return loaded(make_case, door_names)


def _skip_native_dora(case: Any, door: str) -> None:
    if case.variant == "dora" and door in ("auto", "pipeline"):
        pytest.skip("transformers' own loading leaves PEFT's DoRA magnitudes as they start; PeftModel loads them")


@pytest.mark.parametrize("door", DOORS)
def test_fresh_process_gives_the_same_bits(results: dict[str, Any], door_case: Any, door: str) -> None:
    _skip_native_dora(door_case, door)
    case = door_case.name
    assert torch.equal(results[f"fresh/{case}/{door}"], results[case])
    assert torch.equal(results[f"fresh/{case}/{door}/generated"], results[f"{case}/generated"])
    assert not torch.allclose(results[case], results[f"{case}/base"], atol=1e-3), "the adapter changes nothing"


def test_pipeline_writes_the_same_text(results: dict[str, Any], door_case: Any) -> None:
    _skip_native_dora(door_case, "pipeline")
    case = door_case.name
    tokenizer = results["tokenizer"]
    generated = tokenizer.decode(results[f"{case}/generated"][0], skip_special_tokens=True)
    assert results["texts"][case].replace(" ", "") == generated.replace(" ", "")
    assert len(results["texts"][case]) > len(PROMPT)


def test_a_folder_saved_by_peft_itself_loads_too(
    tmp_path: Path,
    tiny_model: Callable[..., PreTrainedModel],
    milora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> None:
    base = tiny_model("llama")
    model = attach_adapter(base, milora_plan(base), "default")
    randomize(model, "default")
    model.save_pretrained(str(tmp_path / "by-peft"), save_embedding_layers=False)
    milora.save(model, tmp_path / "by-us")
    ours = load_file(tmp_path / "by-us" / "adapter_model.safetensors")
    theirs = load_file(tmp_path / "by-peft" / "adapter_model.safetensors")
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert len(ours) == 3 * (7 * 2 + 4)
    again = milora.load(tiny_model("llama"), tmp_path / "by-peft", "other")
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


def test_without_the_import_the_readme_tells_what_to_do(
    tmp_path: Path, tiny_model: Callable[..., PreTrainedModel], milora_plan: Callable[..., dict[str, Any]]
) -> None:
    base = tiny_model("llama")
    milora.save(attach_adapter(base, milora_plan(base), "default"), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["requires"] == "milora"
    readme = (tmp_path / "adapter" / "README.md").read_text()
    assert "import milora" in readme
    assert str(tmp_path) not in readme
    script = "import sys; from peft import PeftConfig; PeftConfig.from_pretrained(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "adapter")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] in readme.replace("`", "")
