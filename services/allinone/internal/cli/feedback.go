package cli

import (
	"net/url"

	"github.com/spf13/cobra"
)

func (a *app) feedbackCommand() *cobra.Command {
	return group("feedback", "What users think of answers", a.feedbackListCommand())
}

func (a *app) feedbackListCommand() *cobra.Command {
	var (
		experiment, arm string
		commented       bool
		limit           int
	)
	cmd := &cobra.Command{
		Use: "list MODEL", Short: "List users' verdicts on a model's answers of the last week, newest first", Args: exactArgs("MODEL"),
		Long: `Lists the verdicts that may still be replaced, with what users say: those on answers
of the last week. Older ones are counted among the results, and their comments are gone.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			for name, value := range map[string]string{"experiment": experiment, "arm": arm} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if commented {
				query.Set("commented", "true")
			}
			items, err := c.pages(cmd.Context(), modelPath(args[0], "feedback"), query, "feedback", limit)
			if err != nil {
				return err
			}
			return a.print(items, columns("TIME update_time", "EXPERIMENT experiment", "ARM arm", "VERSION version", "SCORE score", "COMMENT comment"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&experiment, "experiment", "", "only of this experiment")
	f.StringVar(&arm, "arm", "", "only of this arm")
	f.BoolVar(&commented, "commented", false, "only those with a comment")
	f.IntVar(&limit, "limit", 100, "at most this many; 0 for all")
	return cmd
}
