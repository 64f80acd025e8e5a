package elastic

import (
	"context"
	"errors"
	"net/http"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// Analysers tells of languages whether the cluster has its own analyser for
// them.
type Analysers map[string]bool

// languages are those that the service knows words of, by the names of
// Elasticsearch's analysers.
func languages() []string { return []string{"english", "french"} }

// Analysers asks the cluster for its analysers of the languages that the service
// analyses itself. They are not used, whatever the answer: both kinds of index
// rank by the same words.
func (x *Index) Analysers(ctx context.Context) (Analysers, error) {
	out := make(Analysers)
	for _, language := range languages() {
		body, err := putJSON(object{"analyzer": language, "text": "a"})
		if err != nil {
			return nil, err
		}
		err = x.client.do(ctx, "look for an analyser", esapi.IndicesAnalyzeRequest{Body: body}, nil)
		if err != nil && !isStatus(err, http.StatusBadRequest) && !isStatus(err, http.StatusNotFound) {
			return nil, err
		}
		out[language] = err == nil
	}
	return out, nil
}

// MayNotLook reports whether err is that the user may not ask for analysers,
// which it does not need.
func MayNotLook(err error) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && e.status == http.StatusForbidden
}
