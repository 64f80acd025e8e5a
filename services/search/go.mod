module github.com/poterne/poterne/services/search

go 1.26
