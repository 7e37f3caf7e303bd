"""Which annotated instances become references: few-shot files, drawn shots, negatives."""
