package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// maxCardBytes bounds a model's card.
const maxCardBytes = 64 << 10

func (a *app) modelsUpdateCommand() *cobra.Command {
	var name, owner, licence, tenant, card string
	cmd := &cobra.Command{
		Use: "update MODEL", Short: "Change what is said of a model: its name for people, owner, licence, card, tenant", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			for flag, set := range map[string]struct{ field, value string }{
				"display-name": {"display_name", name}, "owner": {"owner", owner}, "licence": {"licence", licence}, "tenant": {"tenant", tenant},
			} {
				if cmd.Flags().Changed(flag) {
					body[set.field] = set.value
				}
			}
			if cmd.Flags().Changed("card") {
				text, err := a.readCard(card)
				if err != nil {
					return err
				}
				body["card"] = text
			}
			if len(body) == 0 {
				return usagef("say what to change: --display-name, --owner, --licence, --card or --tenant")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var m map[string]any
			if err := c.call(cmd.Context(), http.MethodPatch, modelPath(args[0]), body, &m); err != nil {
				return err
			}
			return a.print(m, columns("MODEL name", "TENANT tenant", "OWNER owner", "LICENCE licence"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "display-name", "", "a name for people")
	f.StringVar(&owner, "owner", "", "the subject who answers for it")
	f.StringVar(&licence, "licence", "", "its licence, best an SPDX expression")
	f.StringVar(&tenant, "tenant", "", "the tenant whose model it shall be; empty shares it with all")
	f.StringVar(&card, "card", "", "a file with what people should know of it, in Markdown; - for standard input, empty for none")
	return cmd
}

func (a *app) readCard(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	in := a.streams.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("card: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxCardBytes+1))
	if err != nil {
		return "", fmt.Errorf("card: %w", err)
	}
	if len(raw) > maxCardBytes {
		return "", usagef("%s is over %d KiB", path, maxCardBytes>>10)
	}
	return string(raw), nil
}

func (a *app) modelsVersionCommand() *cobra.Command {
	var labels, metrics []string
	var licence, description, run string
	var parent int
	cmd := &cobra.Command{
		Use: "version MODEL@VERSION", Short: "Show a version, or change what is said of it", Args: exactArgs("MODEL@VERSION"),
		Long: `Shows a version. With flags, what is said of it is changed first; what the version is
never changes.`,
		Example: `  poterne models version smollm2-135m@v3 --label team=search --metric acc=0.81 --metric old-`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if err := changes(body, "labels", labels, func(v string) (any, error) { return v, nil }); err != nil {
				return err
			}
			if err := changes(body, "metrics", metrics, func(v string) (any, error) { return strconv.ParseFloat(v, 64) }); err != nil {
				return err
			}
			for flag, value := range map[string]string{"licence": licence, "description": description} {
				if cmd.Flags().Changed(flag) {
					body[flag] = value
				}
			}
			if cmd.Flags().Changed("parent") || cmd.Flags().Changed("training-run") {
				body["lineage"] = map[string]any{"parent_version": parent, "training_run_uri": run}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			version, err := versionOf(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if len(body) > 0 {
				path := modelPath(fmt.Sprint(version["model"]), "versions", fmt.Sprint(version["digest"]))
				if err := c.call(cmd.Context(), http.MethodPatch, path, body, &version); err != nil {
					return err
				}
			}
			return a.print(version, columns("MODEL model", "VERSION number", "DIGEST digest", "ENGINE spec.engine", "LICENCE licence",
				"PARENT lineage.parent_version", "RUN lineage.training_run_uri", "METRICS metrics", "LABELS labels", "DESCRIPTION description"))
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&labels, "label", nil, "NAME=VALUE, or NAME- to remove it; may be repeated")
	f.StringArrayVar(&metrics, "metric", nil, "NAME=NUMBER, or NAME- to remove it; may be repeated")
	f.StringVar(&licence, "licence", "", "its licence, best an SPDX expression")
	f.StringVar(&description, "description", "", "what is new, for people")
	f.IntVar(&parent, "parent", 0, "the number of the version that it was made from")
	f.StringVar(&run, "training-run", "", "the training run that made it, as a URI")
	return cmd
}

// changes reads NAME=VALUE and NAME- into a request's field and remove_field.
func changes(body map[string]any, field string, args []string, read func(string) (any, error)) error {
	set, remove := map[string]any{}, []string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		gone, dash := strings.CutSuffix(arg, "-")
		switch {
		case ok && name != "":
			v, err := read(value)
			if err != nil {
				return usagef("%s: %q is no number", name, value)
			}
			set[name] = v
		case !ok && dash && gone != "":
			remove = append(remove, gone)
		default:
			return usagef("it is NAME=VALUE, or NAME- to remove it, not %q", arg)
		}
	}
	if len(set) > 0 {
		body[field] = set
	}
	if len(remove) > 0 {
		body["remove_"+field] = remove
	}
	return nil
}
