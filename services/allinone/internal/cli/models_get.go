package cli

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) modelsGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get MODEL", Short: "Show a model, why it is not placed where it should be, and the forms it can be loaded in", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var model map[string]any
			err = c.call(cmd.Context(), http.MethodGet, joinPath("/v1/models", args[0]), nil, &model)
			// A reference such as m@v3 is no model, and not everybody may read the registry.
			if a.settings.output == "yaml" && (err == nil || isNotFound(err)) && !strings.Contains(args[0], "@") {
				documentErr := a.modelDocument(cmd.Context(), c, args[0], model)
				if documentErr == nil || err != nil || !hasStatus(documentErr, http.StatusForbidden) {
					return documentErr
				}
			}
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(model, nil)
			}
			return a.printModel(model)
		},
	}
}

// printModel prints a model, and its variants below when there are any.
func (a *app) printModel(model map[string]any) error {
	if err := a.print(model, columns("MODEL id", "TASK task", "STATE state", "VERSION version", "CONTEXT context_length",
		"ALIASES aliases", "WORKERS replicas.ready", "DESIRED replicas.desired", "LEAST replicas.min", "MOST replicas.max",
		"PROBLEM placement_problem")); err != nil {
		return err
	}
	variants, ok := model["variants"].([]any)
	if !ok || len(variants) == 0 {
		return nil
	}
	rows := make([]any, 0, len(variants))
	for _, v := range variants {
		row := map[string]any{
			"name": lookup(v, "name"), "size": size(lookup(v, "size_bytes")), "loss": percent(lookup(v, "loss")),
			"allowed": lookup(v, "allowed"), "ready": lookup(v, "ready_workers"), "problem": lookup(v, "placement_problem"),
			"digest": lookup(v, "digest"),
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(a.streams.Out)
	return a.print(rows, columns("VARIANT name", "SIZE size", "LOSS loss", "ALLOWED allowed", "WORKERS ready", "DIGEST digest", "PROBLEM problem"))
}
