"""Writes a llama-architecture GGUF with random weights and a byte-level vocabulary: what a model of it says is noise,
the server around it is real. The seed is fixed: the same file every time. Needs numpy and gguf."""

import sys

import gguf
import numpy as np

EMBEDDING, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 4, 128, 2048
WORDS = ["▁the", "▁a", "▁cat", "▁dog", "▁sat", "▁on", "▁mat", ".", ",", "▁and", "▁is", "▁hello", "▁world"]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"

tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁"] + WORDS
types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
types += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * (1 + len(WORDS))
scores = [0.0] * 259 + [-float(rank) for rank in range(1 + len(WORDS))]

writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_name("tiny-random")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(EMBEDDING)
writer.add_block_count(LAYERS)
writer.add_feed_forward_length(FEED_FORWARD)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(EMBEDDING // HEADS)
writer.add_vocab_size(len(tokens))
writer.add_file_type(gguf.LlamaFileType.ALL_F32)
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores(scores)
writer.add_token_types(types)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)
writer.add_add_bos_token(True)
writer.add_chat_template(TEMPLATE)

chance = np.random.default_rng(7)


def noise(*shape):
    return (chance.standard_normal(shape) * 0.3).astype(np.float32)


def ones(*shape):
    return np.ones(shape, np.float32)


head = noise(len(tokens), EMBEDDING)
head[:259] *= 0.02  # raw bytes are seldom
head[2] = 0  # the end is never certain: an answer has the length that was asked for
writer.add_tensor("token_embd.weight", noise(len(tokens), EMBEDDING))
writer.add_tensor("output.weight", head)
writer.add_tensor("output_norm.weight", ones(EMBEDDING))
for layer in range(LAYERS):
    block = f"blk.{layer}."
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"{block}{name}.weight", ones(EMBEDDING))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"{block}{name}.weight", noise(EMBEDDING, EMBEDDING))
    writer.add_tensor(f"{block}ffn_gate.weight", noise(FEED_FORWARD, EMBEDDING))
    writer.add_tensor(f"{block}ffn_up.weight", noise(FEED_FORWARD, EMBEDDING))
    writer.add_tensor(f"{block}ffn_down.weight", noise(EMBEDDING, FEED_FORWARD))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
