package cli

import (
	"context"
	"net/http"

	"github.com/poterne/poterne/services/allinone/internal/declare"
)

// printOne prints one thing that a document can declare: with -o yaml the document,
// which changes nothing when it is applied, and otherwise what print does.
func (a *app) printOne(kind string, answer map[string]any, cols []column) error {
	if a.settings.output != "yaml" {
		return a.print(answer, cols)
	}
	document, err := declare.AsDocument(kind, answer)
	if err != nil {
		return err
	}
	return a.print(document, nil)
}

// modelDocument is the registry's model, with how it is served in its status.
func (a *app) modelDocument(ctx context.Context, c *client, name string, served map[string]any) error {
	var model map[string]any
	if err := c.call(ctx, http.MethodGet, modelPath(name), nil, &model); err != nil {
		return err
	}
	if served != nil {
		model["serving"] = served
	}
	return a.printOne("Model", model, nil)
}
