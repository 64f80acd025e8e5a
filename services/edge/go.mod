module github.com/poterne/poterne/services/edge

go 1.26
