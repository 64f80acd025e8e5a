package elastic_test

import (
	"io"
	"net/http"

	"github.com/poterne/poterne/services/search/internal/index/elastic/smiletest"
)

func (n *node) bulk(body io.Reader) any {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil // the caller left
	}
	documents, err := smiletest.Documents(text)
	if err != nil {
		n.t.Error(err)
	}
	var items []any
	for i := 0; i < len(documents); i++ {
		action, _ := documents[i].(map[string]any)
		for name, of := range action {
			if name == "create" {
				i++ // its passage
			}
			of, _ := of.(map[string]any)
			id, _ := of["_id"].(string)
			n.sent[id]++
			status, kind := http.StatusCreated, ""
			if n.item != nil {
				status, kind = n.item(id, n.sent[id])
			}
			result := map[string]any{"status": status}
			if kind != "" {
				result["error"] = map[string]any{"type": kind, "reason": "Preview of field's value: 'secret plan'"}
			}
			items = append(items, map[string]any{name: result})
		}
	}
	return map[string]any{"items": items}
}
