module github.com/poterne/poterne/services/inference

go 1.26
