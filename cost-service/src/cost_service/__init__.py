"""Prices, allowances, budgets, holds and the ledger."""
