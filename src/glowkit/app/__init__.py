"""Floor 7, below the commands: a web page of a model. Only `page` and `serving` need Gradio."""
