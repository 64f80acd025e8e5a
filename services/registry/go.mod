module github.com/poterne/poterne/services/registry

go 1.26
