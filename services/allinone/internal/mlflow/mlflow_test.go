package mlflow_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/allinone/internal/mlflow"
	"github.com/poterne/poterne/services/registry/modelsource"
)

func serve(t *testing.T, answers map[string]string) *mlflow.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, ok := answers[r.URL.Path+"?"+r.URL.RawQuery]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			body = `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"gone"}`
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c, err := mlflow.New(server.URL+"/", mlflow.Credentials{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const api = "/api/2.0/mlflow/"

func TestPages(t *testing.T) {
	c := serve(t, map[string]string{
		api + "registered-models/search?max_results=100":              `{"registered_models":[{"name":"a","aliases":[{"alias":"x","version":"2"}]}],"next_page_token":"t"}`,
		api + "registered-models/search?max_results=100&page_token=t": `{"registered_models":[{"name":"b","description":"d"}]}`,
	})
	var names []string
	err := c.Models(t.Context(), func(m mlflow.Model) error {
		names = append(names, m.Name+m.Description)
		return nil
	})
	if err != nil || strings.Join(names, " ") != "a bd" {
		t.Errorf("got %q, %v", names, err)
	}
	c = serve(t, map[string]string{
		api + "registered-models/search?max_results=100":              `{"next_page_token":"t"}`,
		api + "registered-models/search?max_results=100&page_token=t": `{"next_page_token":"t"}`,
	})
	if err := c.Models(t.Context(), func(mlflow.Model) error { return nil }); err == nil {
		t.Error("a server that goes round in circles is followed for ever")
	}
}

func TestErrorsAreMLflows(t *testing.T) {
	_, err := serve(t, nil).Run(t.Context(), "r")
	if known, ok := errors.AsType[*mlflow.Error](err); !ok || known.Code != "RESOURCE_DOES_NOT_EXIST" || known.Status != http.StatusNotFound {
		t.Errorf("got %v", err)
	}
}

func TestHostedArtifacts(t *testing.T) {
	const at = "/api/2.0/mlflow-artifacts/artifacts"
	c := serve(t, map[string]string{
		at + "?path=0%2Fm":        `{"files":[{"path":"MLmodel","file_size":"3"},{"path":"data","is_dir":true},{"path":"..","is_dir":true}]}`,
		at + "?path=0%2Fm%2Fdata": `{"files":[{"path":"0/m/data/w","file_size":1}]}`,
		at + "/0/m/data/w?":       "w",
	})
	p, err := c.Place("mlflow-artifacts:/0/m")
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.List(t.Context())
	if err != nil || len(files) != 2 || files[0].Path != "MLmodel" || files[0].Size != 3 || files[1].Path != "data/w" {
		t.Fatalf("got %v, %v", files, err)
	}
	in, err := p.Open(t.Context(), "data/w")
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(in); err != nil || string(raw) != "w" || !strings.HasSuffix(p.URI("data/w"), at+"/0/m/data/w") {
		t.Errorf("got %q, %v, %s", raw, err, p.URI("data/w"))
	}
}

func TestPlacesThatAreNotRead(t *testing.T) {
	c := serve(t, nil)
	for _, uri := range []string{"s3://bucket/m", "dbfs:/m", "file://host/m", "relative/m", "http://host/dir", "http://u:p@host/a.gguf", ":"} {
		if _, err := c.Place(uri); !errors.Is(err, modelsource.ErrNotServed) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for _, uri := range []string{"", "ftp://h", "http://u:p@h", "http://h?a=b"} {
		if _, err := mlflow.New(uri, mlflow.Credentials{}); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
