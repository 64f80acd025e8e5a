module github.com/cbroglie/mustache

go 1.26.0
