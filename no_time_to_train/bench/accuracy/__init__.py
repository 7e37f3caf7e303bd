"""What a part of the method brings: configurations by few-shot tasks by shots by seeds, compared in pairs."""
