"""Loads an adapter that milora trained, generates, and shows which experts each prompt chose.

python examples/python/load_and_generate.py base-model adapter [prompt …]
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import milora

base, adapter, *prompts = sys.argv[1:]
prompts = prompts or ["Request: Turn off the kitchen light.\nCalls:", "Request: It is cold in the hall.\nCalls:"]

# Pads stand at the left, so that every prompt ends where its answer begins; the routers never read them.
tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
model = milora.load(AutoModelForCausalLM.from_pretrained(base), adapter)

batch = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
with torch.inference_mode():
    tokens = model.generate(**batch, max_new_tokens=24, do_sample=False, pad_token_id=tokenizer.pad_token_id)
for text in tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True):
    print("answer:", text)

experts = milora.route(model, batch)  # prompt, layer, expert
names = [expert["name"] for expert in model.peft_config["default"].layers[0]["experts"]]
for prompt, chosen in enumerate(experts[:, 0].tolist()):
    print(f"prompt {prompt}, layer 0:", *(name for name, active in zip(names, chosen, strict=True) if active))
