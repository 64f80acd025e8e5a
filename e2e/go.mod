module github.com/poterne/poterne/e2e

go 1.26.0
