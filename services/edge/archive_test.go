package edge_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge"
)

// An archive is lines of any number: no bound on bodies is in its way.
func TestArchiveIsStreamed(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	if code, body, err := g.raw(http.MethodGet, "/v1/registry/archive:export", "", nil); err != nil || code != http.StatusOK || body != "{\"header\":{}}\n" {
		t.Errorf("%d %q %v", code, body, err)
	}
	const lines, path = "application/x-ndjson", "/v1/registry/archive:import"
	large := bytes.Repeat([]byte("x"), 9<<20+7) // more than a body may have
	code, body, err := g.raw(http.MethodPost, path+"?conflict=skip&dry_run=true", lines, bytes.NewReader(large))
	if err != nil || code != http.StatusOK || !strings.Contains(body, `"IMPORT_CONFLICT_SKIP true 9437191":"IMPORT_OUTCOME_CREATED"`) {
		t.Errorf("%d %q %v", code, body, err)
	}
	for query, contentType := range map[string]string{
		"?conflict=all": lines, "?conflict=skip&conflict=fail": lines, "?dry_run=maybe": lines, "?other=1": lines, "": "application/json",
	} {
		code, body, err := g.raw(http.MethodPost, path+query, contentType, bytes.NewReader(large[:3<<20]))
		if want := map[bool]int{true: http.StatusBadRequest, false: http.StatusUnsupportedMediaType}[contentType == lines]; err != nil || code != want {
			t.Errorf("%s, %s: %d %q %v", query, contentType, code, body, err)
		}
	}
	if code, _, _ := g.raw(http.MethodGet, "/v1/registry/archive:export?x=1", "", nil); code != http.StatusBadRequest {
		t.Errorf("a query is answered %d", code)
	}
}

// A body that is broken off is answered at once, though the registry waits for more
// of it.
func TestAnArchiveThatIsBrokenIsGivenUp(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	_, resp := g.half("POST /v1/registry/archive:import HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"+
		"Transfer-Encoding: chunked\r\nAuthorization: Bearer "+g.key, "8\r\n{\"header\r\nno chunk\r\n")
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %d", resp.StatusCode)
	}
}

// ExportArchive gives a line in two pieces.
func (f *fakeRegistry) ExportArchive(_ *registryv1.ExportArchiveRequest, stream grpc.ServerStreamingServer[registryv1.ExportArchiveResponse]) error {
	for _, piece := range []string{"{\"header\"", ":{}}\n"} {
		if err := stream.Send(&registryv1.ExportArchiveResponse{Data: []byte(piece)}); err != nil {
			return err
		}
	}
	return nil
}

// ImportArchive says under the name of the conflict how many bytes came.
func (f *fakeRegistry) ImportArchive(stream grpc.ClientStreamingServer[registryv1.ImportArchiveRequest, registryv1.ImportArchiveResponse]) error {
	n, name := 0, ""
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&registryv1.ImportArchiveResponse{Models: map[string]registryv1.ImportOutcome{
				fmt.Sprint(name, n): registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED,
			}})
		}
		if err != nil {
			return err
		}
		if name == "" {
			name = fmt.Sprint(req.GetConflict(), req.GetDryRun(), " ")
		}
		n += len(req.GetData())
	}
}
