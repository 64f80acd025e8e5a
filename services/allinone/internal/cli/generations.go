package cli

import (
	"net/http"

	"github.com/spf13/cobra"
)

// generationsCommand is about embedding generations: a collection's passages as
// one model version and one chunking made them.
func (a *app) generationsCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list COLLECTION", Short: "List the embedding generations that are kept, the newest first", Args: exactArgs("COLLECTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, generationsPath(args[0]), nil, &out); err != nil {
				return err
			}
			items, _ := out["embedding_generations"].([]any)
			return a.print(items, generationColumns())
		},
	}
	remove := &cobra.Command{
		Use: "delete COLLECTION NUMBER", Short: "Remove an embedding generation that does not serve, or cancel its building",
		Args: exactArgs("COLLECTION", "NUMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, generationsPath(args[0], args[1]), nil, nil)
		},
	}
	get := a.generationCommand("get COLLECTION NUMBER", "Show an embedding generation and how far it is", http.MethodGet, "", "COLLECTION", "NUMBER")
	serve := a.generationCommand("serve COLLECTION NUMBER", "Have searches ask an embedding generation, as soon as it is ready",
		http.MethodPost, ":serve", "COLLECTION", "NUMBER")
	rollback := a.generationCommand("rollback COLLECTION", "Have searches ask the embedding generation before again",
		http.MethodPost, ":rollback", "COLLECTION")
	return group("generations", "Embedding generations of a collection", a.createGenerationCommand(), list, get, serve, rollback, remove)
}

func (a *app) createGenerationCommand() *cobra.Command {
	var model string
	var words, overlap int
	var hold bool
	create := &cobra.Command{
		Use: "create COLLECTION", Short: "Embed a collection anew, in the background", Args: exactArgs("COLLECTION"),
		Long: `Embeds a collection anew in the background. Searches are answered as before until
the new embedding generation has every document; then it serves.`,
		Example: `  poterne collections generations create handbook --embedding-model multilingual-e5-small
  poterne collections generations create handbook --max-words 120 --hold`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{"serve_when_ready": !hold}
			if model != "" {
				body["embedding_model"] = model
			}
			chunking := map[string]any{}
			if cmd.Flags().Changed("max-words") {
				chunking["max_words"] = words
			}
			if cmd.Flags().Changed("overlap-words") {
				chunking["overlap_words"] = overlap
			}
			if len(chunking) > 0 {
				body["chunking"] = chunking
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, generationsPath(args[0]), body, &out); err != nil {
				return err
			}
			return a.print(out, generationColumns())
		},
	}
	create.Flags().StringVar(&model, "embedding-model", "", "the model that embeds it; empty for the present one in the version that it names now")
	create.Flags().IntVar(&words, "max-words", 0, "the length of a passage in words; not said: the service's")
	create.Flags().IntVar(&overlap, "overlap-words", 0, "how many words a passage may repeat of the one before; not said: the service's")
	create.Flags().BoolVar(&hold, "hold", false, "do not have it serve when it is ready")
	return create
}

// generationCommand is a call that answers with an embedding generation. The
// first argument is the collection, the second perhaps the number.
func (a *app) generationCommand(use, short, method, verb string, names ...string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactArgs(names...),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			var body any
			if method == http.MethodPost {
				body = map[string]any{}
			}
			if err := c.call(cmd.Context(), method, generationsPath(args[0], args[1:]...)+verb, body, &out); err != nil {
				return err
			}
			return a.print(out, generationColumns())
		},
	}
}

func generationsPath(collection string, number ...string) string {
	return joinPath(collectionsPath, append([]string{collection, "embeddingGenerations"}, number...)...)
}

func generationColumns() []column {
	return columns("NUMBER number", "STATE state", "DONE documents_done", "OF documents_total", "FAILED documents_failed",
		"PER_SECOND documents_per_second", "EMBEDDING embedding_model", "REASON reason")
}
