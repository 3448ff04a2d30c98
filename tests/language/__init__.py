"""The language reference, sentence by sentence: reference evaluator, torch target, plain torch."""
