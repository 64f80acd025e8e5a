module github.com/poterne/poterne/proto/gen

go 1.26
