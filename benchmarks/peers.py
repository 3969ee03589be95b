"""What the embedded engine is measured against; see runtimes.py.

python benchmarks/peers.py FOLDER     # convert a Llama folder for llama.cpp and genai
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.engines.shape import read_config, read_shape, rotary
from fabula.engines.weights import read_weights

Floats = npt.NDArray[np.float32]


def now() -> tuple[float, float]:
    """Time on the clock, and time of the processor."""
    return time.perf_counter(), time.process_time()


def open_numpy(folder: Path) -> Any:
    """A plain numpy loop, in float32, with a preallocated key-value cache."""
    config = read_config(folder)
    shape = read_shape(folder, config)
    weights = {k: v.astype(np.float32) for k, v in read_weights(folder, shape)[0].items()}
    cos, sin = rotary(shape, config, folder)
    half, groups = shape.head_size // 2, shape.heads // shape.key_value_heads

    def norm(x: Floats, name: str) -> Floats:
        scale = np.sqrt((x * x).mean(axis=-1, keepdims=True) + shape.epsilon)
        return x / scale * weights[name]

    def turn(x: Floats, start: int) -> Floats:
        c = cos[start : start + x.shape[2]]
        s = sin[start : start + x.shape[2]]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)

    def forward(tokens: npt.NDArray[np.int64], cache: Floats, start: int) -> Floats:
        rows, new = tokens.shape
        x = weights["model.embed_tokens.weight"][tokens]
        mask = np.triu(np.full((new, start + new), -np.inf, np.float32), start + 1)

        def heads(y: Floats, name: str, count: int) -> Floats:
            projected = y @ weights[name].T
            return projected.reshape(rows, new, count, shape.head_size).swapaxes(1, 2)

        for n in range(shape.layers):
            at = f"model.layers.{n}."
            y = norm(x, at + "input_layernorm.weight")
            query = turn(heads(y, at + "self_attn.q_proj.weight", shape.heads), start)
            keys, values = cache[n]
            many = shape.key_value_heads
            keys[:, :, start : start + new] = turn(
                heads(y, at + "self_attn.k_proj.weight", many), start
            )
            values[:, :, start : start + new] = heads(y, at + "self_attn.v_proj.weight", many)
            grouped = query.reshape(rows, many, groups * new, shape.head_size)
            scores = grouped @ keys[:, :, : start + new].swapaxes(2, 3) / shape.head_size**0.5
            scores = scores.reshape(rows, many, groups, new, start + new) + mask
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed = scores.reshape(rows, many, groups * new, -1) @ values[:, :, : start + new]
            mixed = mixed.reshape(rows, shape.heads, new, shape.head_size).swapaxes(1, 2)
            x = x + mixed.reshape(rows, new, -1) @ weights[at + "self_attn.o_proj.weight"].T
            y = norm(x, at + "post_attention_layernorm.weight")
            gate = y @ weights[at + "mlp.gate_proj.weight"].T
            inner = gate / (1 + np.exp(-gate)) * (y @ weights[at + "mlp.up_proj.weight"].T)
            x = x + inner @ weights[at + "mlp.down_proj.weight"].T
        last = norm(x[:, -1], "model.norm.weight")
        head = "model.embed_tokens.weight" if shape.tied else "lm_head.weight"
        scores_: Floats = last @ weights[head].T
        return scores_

    def write(prompt: list[int], rows: int, steps: int) -> list[tuple[float, float]]:
        size = (shape.layers, 2, 1, shape.key_value_heads, shape.context, shape.head_size)
        narrow = np.zeros(size, np.float32)
        scores = forward(np.array([prompt]), narrow, 0)
        cache, scores = np.repeat(narrow, rows, axis=2), np.repeat(scores, rows, axis=0)
        moments: list[tuple[float, float]] = []
        for step in range(steps):
            tokens = scores.argmax(axis=1)
            moments += [now()] * rows
            scores = forward(tokens[:, None], cache, len(prompt) + step)
        return moments

    return write


def open_llama_cpp(folder: Path, threads: int) -> Any:
    """llama.cpp through xllamacpp: its server's slots, a prompt cache, streamed tokens."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(folder / "peer.gguf")
    params.n_parallel, params.n_ctx = 8, 8 * 1024
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup = False
    params.verbosity = -1
    params.kv_unified = True
    server = xllamacpp.Server(params)

    def write(prompt: list[int], rows: int, steps: int) -> list[tuple[float, float]]:
        moments: list[tuple[float, float]] = []

        def ask() -> None:
            def heard(answer: Any) -> None:
                moments.append(now())

            request = {
                "prompt": prompt,
                "n_predict": steps,
                "temperature": 0.0,
                "samplers": ["top_k"],
                "top_k": 1,
                "ignore_eos": True,
                "stream": True,
                "cache_prompt": True,
            }
            server.handle_completions(json.dumps(request), heard)

        askers = [threading.Thread(target=ask) for _ in range(rows)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        return sorted(moments)

    return write


def open_genai(folder: Path, threads: int) -> Any:
    """onnxruntime-genai, greedy; its rows each read the prompt, for it shares no prefix."""
    import onnxruntime_genai

    config = onnxruntime_genai.Config(str(folder / "peer-genai"))
    options = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
    overlay = {"model": {"decoder": {"session_options": options}}}
    config.overlay(json.dumps(overlay))
    model = onnxruntime_genai.Model(config)

    def write(prompt: list[int], rows: int, steps: int) -> list[tuple[float, float]]:
        params = onnxruntime_genai.GeneratorParams(model)
        length = len(prompt) + steps
        params.set_search_options(
            do_sample=False, top_k=1, batch_size=rows, max_length=length, min_length=length
        )
        generator = onnxruntime_genai.Generator(model, params)
        generator.append_tokens(np.array([prompt] * rows, dtype=np.int32))
        moments: list[tuple[float, float]] = []
        for _ in range(steps):
            generator.generate_next_token()
            moments += [now()] * rows
        return moments

    return write


def write_gguf(folder: Path) -> None:
    """Write peer.gguf: 8-bit matrices in llama.cpp's q8_0, the rest in float32."""
    import gguf

    config = read_config(folder)
    shape = read_shape(folder, config)
    tensors, _ = read_weights(folder, shape)
    writer = gguf.GGUFWriter(folder / "peer.gguf", "llama")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(float((config.get("rope_parameters") or {}).get("rope_theta", 1e4)))
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    special = {token["id"] for token in tokenizer["added_tokens"]}
    merges = tokenizer["model"]["merges"]
    names = [name for name, _ in vocabulary]
    names += [f"<unused{n}>" for n in range(len(names), shape.vocabulary)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([3 if n in special else 1 for n in range(len(names))])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    parts = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    whole = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    for name in shape.tensors():
        array = tensors[name].astype(np.float32)
        if name in whole:
            target = whole[name]
        else:
            number, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            target = f"blk.{number}.{parts[part]}.weight"
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                # llama.cpp turns neighbouring pairs, transformers the two halves of a head.
                heads = array.reshape(-1, 2, shape.head_size // 2, shape.hidden)
                array = np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(array.shape)
        kind = gguf.GGMLQuantizationType.Q8_0 if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(target, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_genai(folder: Path) -> None:
    """Write peer-genai/: the graph that onnxruntime-genai's own builder makes, in 8 bits."""
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", folder]
    command += ["-o", folder / "peer-genai", "-p", "int8", "-e", "cpu", "-c", folder / "peer-cache"]
    command += ["--extra_options", "accuracy_level=4", "block_size=64"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    write_gguf(Path(sys.argv[1]))
    write_genai(Path(sys.argv[1]))
