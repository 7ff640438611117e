"""A language model whose linear layers an accelerator computes, token by token; the rest is the host's."""
