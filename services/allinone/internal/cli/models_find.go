package cli

import (
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// listing is which entries of the registry are listed, and how.
type listing struct {
	filter, order string
	deleted       bool
	limit         int
}

func (l *listing) flags(f *pflag.FlagSet) {
	f.StringVar(&l.filter, "filter", "", `which ones, such as 'labels.team = "search" AND create_time > "2030-01-01T00:00:00Z"'`)
	f.StringVar(&l.order, "order-by", "", "a field, and desc behind it for the other way round")
	f.BoolVar(&l.deleted, "deleted", false, "also those that are deleted and can be restored")
	f.IntVar(&l.limit, "limit", 0, "at most so many; 0 is all")
}

func (l *listing) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"filter": l.filter, "order_by": l.order} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if l.deleted {
		q.Set("show_deleted", "true")
	}
	if l.limit > 0 {
		q.Set("page_size", strconv.Itoa(min(l.limit, 1000)))
	}
	return q
}

func (a *app) modelsFindCommand() *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use: "find", Short: "List the registry's models, whether they can be asked or not", Args: noArgs,
		Long: `Lists the models of the registry. --filter knows name (with a * at the end),
task, owner, tenant, licence, labels.NAME, version_count, create_time and
update_time; --order-by name, create_time and update_time.`,
		Example: `  poterne models find --filter 'task = "chat" AND labels.team = "search"' --order-by 'update_time desc'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), modelsPath, l.query(), "models", l.limit)
			if err != nil {
				return err
			}
			return a.print(items, columns("MODEL name", "TASK task TASK_", "TENANT tenant", "OWNER owner", "LICENCE licence", "VERSIONS version_count",
				"UPDATED update_time", "DELETED delete_time", "LABELS labels"))
		},
	}
	l.flags(cmd.Flags())
	return cmd
}

func (a *app) modelsVersionsCommand() *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use: "versions MODEL", Short: "List a model's versions, newest first", Args: exactArgs("MODEL"),
		Long: `Lists a model's versions. --filter knows number, digest, create_time, engine,
task, licence, labels.NAME, metrics.NAME, lineage.parent_version,
lineage.training_run_uri and signed; --order-by number, create_time and
metrics.NAME, by which only those are listed that have the metric.`,
		Example: `  poterne models versions smollm2-135m --filter 'metrics.acc >= 0.8' --order-by 'metrics.acc desc' --limit 5`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), modelPath(args[0], "versions"), l.query(), "versions", l.limit)
			if err != nil {
				return err
			}
			return a.print(items, columns("VERSION number", "DIGEST digest", "ENGINE spec.engine", "CREATED create_time", "METRICS metrics",
				"LABELS labels", "DELETED delete_time", "DESCRIPTION description"))
		},
	}
	l.flags(cmd.Flags())
	return cmd
}
