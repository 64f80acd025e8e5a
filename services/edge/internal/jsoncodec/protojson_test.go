package jsoncodec

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// FuzzProtojson holds that what is read of a message without forms of its own is what
// protojson reads: the codec may refuse more, and must not understand anything otherwise.
func FuzzProtojson(f *testing.F) {
	for _, seed := range []string{
		`{"spec":{"task":"TASK_CHAT","artifacts":[{"path":"a","sizeBytes":"12","size_bytes":12}],"parameters":{"a":"b","a":"c"}}}`,
		`{"spec":{"task":1,"artifacts":[{"size_bytes":1.0e1},{"size_bytes":"+5"},{"size_bytes":"0x1.8p1"},{"size_bytes":9007199254740993}]}}`,
		`{"spec":{"task":"TASK_CHAT","artifacts":[{"size_bytes":9.3e18}]}}`, `{"spec":{"artifacts":[{"size_bytes":-0}, {"size_bytes":" 1"}]}}`,
		`{"expire_time":"2026-01-02T03:04:05.5Z","roles":["a\ud83d\ude00","\ud800","\u0000"]}`, `{"expireTime":null,"roles":[null]}`,
		`{"name":"\ud83d","ro\u006ces":["b"]}`, `{"name":"a","name":"b"}`, `{"name":"a","unknown":1}`, "{\"name\":\"\xff\"}", `{"name":1}`, `{} {}`, `[]`, `null`,
		`{"from":"2026-01-02T03:04:05Z","page_size":1e2,"page_token":"x","group_by":["a"]}`, `{"page_size":2147483648}`, `{"page_size":"7"}`, `{"page_size":1.5}`,
		`{"rates":{"input":"922337203685477580799","output":1e400,"reasoning":0.0}}`,
	} {
		f.Add([]byte(seed))
	}
	c := New(Options{})
	kinds := []func() proto.Message{
		func() proto.Message { return &edgev1.CreateApiKeyRequest{} },
		func() proto.Message { return &edgev1.ListAuditRecordsRequest{} },
		func() proto.Message { return &edgev1.ListUsageRequest{} },
		func() proto.Message { return &edgev1.SetPriceRequest{} },
		func() proto.Message { return &registryv1.CreateVersionRequest{} },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range kinds {
			got, want := kind(), kind()
			if c.Unmarshal(data, got) != nil {
				continue
			}
			if err := protojson.Unmarshal(data, want); err != nil {
				t.Fatalf("%T: %q is read as %v, and not at all by protojson: %v", got, data, got, err)
			}
			if !proto.Equal(got, want) {
				t.Fatalf("%T: %q is read as\n%v\nand by protojson as\n%v", got, data, got, want)
			}
		}
	})
}
