module github.com/poterne/poterne/services/allinone

go 1.26
