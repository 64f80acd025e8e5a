module github.com/poterne/poterne/services/registry

go 1.26.0

require (
	github.com/gowebpki/jcs v1.0.2
	github.com/poterne/poterne/pkg v0.0.0
	github.com/poterne/poterne/proto/gen v0.0.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

replace (
	github.com/poterne/poterne/pkg => ../../pkg
	github.com/poterne/poterne/proto/gen => ../../proto/gen
)
