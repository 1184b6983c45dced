"""params.json and eval_params.json: sections, reading, checking, messages. No torch."""
