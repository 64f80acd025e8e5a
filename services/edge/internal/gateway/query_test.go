package gateway

import (
	"net/url"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// A parameter that cannot be read is told what it would look like, also within a
// message.
func TestParametersAreToldTheirForm(t *testing.T) {
	for _, c := range []struct {
		msg         proto.Message
		name, value string
		want        string
	}{
		{&edgev1.ExportUsageRequest{}, "usage.from", "yesterday", "usage.from: must be a time of RFC 3339, such as 2026-01-02T15:04:05Z"},
		{&edgev1.ExportUsageRequest{}, "usage.pageSize", "many", "usage.pageSize: must be one whole number"},
		{&edgev1.ExportUsageRequest{}, "usage", "x", "usage: must be given by its members, as in usage.member"},
		{&inferencev1.EmbedRequest{}, "wait_for_ready", "soon", "wait_for_ready: must be a duration such as 1.5s"},
		{&edgev1.UpdateApiKeyRequest{}, "update_mask.paths.x", "y", "update_mask.paths.x: must be of another form"},
		{&edgev1.ListApiKeysRequest{}, "unused_since", "2026-01-02", "unused_since: must be a time of RFC 3339, such as 2026-01-02T15:04:05Z"},
	} {
		err := new(queryParser).Parse(c.msg, url.Values{c.name: {c.value}}, utilities.NewDoubleArray(nil))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
