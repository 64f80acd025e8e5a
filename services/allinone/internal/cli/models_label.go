package cli

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) modelsLabelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "label MODEL NAME=VALUE... NAME-...",
		Short: "Set labels of a model, or remove them",
		Long: `Sets labels of a model, or removes those written with a dash behind. Other labels
stay. Some labels are policy: docs/placement.md and docs/variants.md say which.`,
		Example: `  poterne models label smollm2-135m poterne.dev/saturation-fallback=true poterne.dev/max-quality-loss=0.05
  poterne models label smollm2-135m poterne.dev/max-quality-loss-`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s needs MODEL and one label or more, got %d argument(s)", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			set, remove := map[string]string{}, []string{}
			for _, arg := range args[1:] {
				name, value, ok := strings.Cut(arg, "=")
				gone, dash := strings.CutSuffix(arg, "-")
				switch {
				case ok && name != "":
					set[name] = value
				case !ok && dash && gone != "":
					remove = append(remove, gone)
				default:
					return usagef("a label is NAME=VALUE, or NAME- to remove it, not %q", arg)
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var model map[string]any
			body := map[string]any{"labels": set, "remove_labels": remove}
			if err := c.call(cmd.Context(), http.MethodPatch, modelPath(args[0]), body, &model); err != nil {
				return err
			}
			return a.print(model, columns("MODEL name", "LABELS labels"))
		},
	}
}
