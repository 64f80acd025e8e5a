module github.com/poterne/poterne/services/worker

go 1.26
