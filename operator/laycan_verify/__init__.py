"""The offline verifier: what a buyer, an exchange or an auditor checks without believing the operator."""
