"""What exact worlds show of each claim: a table and a figure, to compare with its prediction."""
