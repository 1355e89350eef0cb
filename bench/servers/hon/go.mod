module millrace/bench/hon

go 1.25

require github.com/gobwas/ws v1.4.0
