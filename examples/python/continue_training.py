"""Trains an adapter further with transformers' Trainer, from where milora left it, and saves it.

python examples/python/continue_training.py base-model adapter new-adapter [steps]
"""

import sys

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, TrainingArguments

import milora
from milora.hf_trainer import MiloraTrainer

base, adapter, out, *rest = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter, is_trainable=True)


def row(prompt: str, answer: str) -> dict[str, list[int]]:
    """Tokens of prompt and answer, made apart; the routers read what the labels leave out, the prompt."""
    prompt_ids = tokenizer(prompt)["input_ids"]
    answer_ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {
        "input_ids": prompt_ids + answer_ids,
        "attention_mask": [1] * len(prompt_ids + answer_ids),
        "labels": [-100] * len(prompt_ids) + answer_ids,
    }


trainer = MiloraTrainer(
    model=model,
    args=TrainingArguments(
        output_dir=f"{out}-checkpoints",
        max_steps=int(rest[0]) if rest else 20,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        save_strategy="no",
        report_to=[],
    ),
    train_dataset=[row(f"What follows {number}?", f" {number + 1}") for number in range(40)],
    data_collator=DataCollatorForSeq2Seq(tokenizer),
    balance=0.01,
)
print(f"loss {trainer.train().training_loss:.3f}")
milora.save(model, out)
