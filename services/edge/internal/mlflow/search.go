package mlflow

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const (
	defaultResults = 100
	// maxPages bounds the pages of the registry that one search goes through; what
	// it has found until then is answered, and the next page goes on.
	maxPages = 20
	pageSize = 500
	// modelResults bounds the models of one page: each is asked for with its aliases
	// and newest version, and a page counts as one request.
	modelResults = 100
)

// condition is one part of a filter.
type condition struct {
	key   string // name, run_id or tags.…
	match func(string) bool
	equal string // what `=` asks for
	// unequal says that what lacks the tag meets it too: MLflow's client adds such a
	// condition of its own, to leave prompts out.
	unequal bool
}

var comparison = regexp.MustCompile(`(?i)^\s*([a-z_]+|tags?\.[A-Za-z0-9._/-]+|tags?\.` + "`[^`]+`" + `)\s*(=|!=|LIKE|ILIKE)\s*('[^']*'|"[^"]*")\s*(AND\s|$)`)

// parseFilter reads the part of MLflow's filters that is known here.
func parseFilter(filter string) ([]condition, error) {
	var out []condition
	for rest := filter; strings.TrimSpace(rest) != ""; {
		m := comparison.FindStringSubmatch(rest)
		if m == nil {
			return nil, apierr.Invalid("filter", "the filter must be conditions such as name = 'x', name LIKE 'x%%' or tags.key = 'x', joined by AND")
		}
		rest = rest[len(m[0]):]
		c := condition{key: m[1]}
		if tag, ok := strings.CutPrefix(strings.Replace(c.key, "tag.", "tags.", 1), "tags."); ok {
			c.key = "tags." + strings.Trim(tag, "`")
		} else if c.key != "name" && c.key != "run_id" {
			return nil, apierr.Invalid("filter", "the filter cannot ask for %q, only for name, run_id and tags", c.key)
		}
		value := m[3][1 : len(m[3])-1]
		switch op := strings.ToUpper(m[2]); op {
		case "=":
			c.equal, c.match = value, func(s string) bool { return s == value }
		case "!=":
			c.unequal, c.match = true, func(s string) bool { return s != value }
		default:
			pattern := like(value, op == "ILIKE")
			c.match = pattern.MatchString
		}
		out = append(out, c)
	}
	return out, nil
}

// like makes a pattern of SQL's into a regular expression.
func like(pattern string, fold bool) *regexp.Regexp {
	quoted := strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(pattern))
	if fold {
		return regexp.MustCompile("(?is)^" + quoted + "$")
	}
	return regexp.MustCompile("(?s)^" + quoted + "$")
}

func meets(conditions []condition, name, run string, labels map[string]string) bool {
	for _, c := range conditions {
		value := name
		if c.key == "run_id" {
			value = run
		} else if tag, ok := strings.CutPrefix(c.key, "tags."); ok {
			var has bool
			if value, has = labels[tag]; !has {
				if c.unequal {
					continue
				}
				return false
			}
		}
		if !c.match(value) {
			return false
		}
	}
	return true
}

// named is the one name that the conditions ask for; "" when there is none.
func named(conditions []condition) string {
	for _, c := range conditions {
		if c.key == "name" && c.equal != "" {
			return c.equal
		}
	}
	return ""
}

func checkOrder(order []string, known ...string) error {
	for _, o := range order {
		asked := strings.Join(strings.Fields(o), " ")
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(asked, k) }) {
			return apierr.Invalid("order_by", "the order must be %s", known[0])
		}
	}
	return nil
}

func results(asked int64) int {
	if asked == 0 {
		return defaultResults
	}
	return int(min(asked, 1000))
}

// SearchRegisteredModels implements edgev1.MlflowServiceServer. The models of a
// page have their aliases, and no versions.
func (s *Server) SearchRegisteredModels(ctx context.Context, req *edgev1.SearchRegisteredModelsRequest) (*edgev1.SearchRegisteredModelsResponse, error) {
	conditions, err := parseFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	if err := checkOrder(req.GetOrderBy(), "name ASC", "name"); err != nil {
		return nil, err
	}
	out := &edgev1.SearchRegisteredModelsResponse{}
	if name := named(conditions); name != "" {
		m, err := s.registry.GetModel(ctx, &registryv1.GetModelRequest{Model: name})
		if reason := apierr.ReasonOf(err); reason == apierr.ModelNotFound || reason == apierr.NotFound || reason == apierr.InvalidArgument {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		return out, s.addModel(ctx, out, conditions, m.GetModel())
	}
	token := req.GetPageToken()
	for range maxPages {
		page, err := s.registry.ListModels(ctx, &registryv1.ListModelsRequest{PageSize: int32(min(results(req.GetMaxResults()), modelResults)), PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, m := range page.GetModels() {
			if err := s.addModel(ctx, out, conditions, m); err != nil {
				return nil, err
			}
		}
		if token = page.GetNextPageToken(); token == "" || len(out.GetRegisteredModels()) > 0 {
			break
		}
	}
	out.NextPageToken = token
	return out, nil
}

func (s *Server) addModel(ctx context.Context, out *edgev1.SearchRegisteredModelsResponse, conditions []condition, m *registryv1.Model) error {
	if !meets(conditions, m.GetName(), "", m.GetLabels()) {
		return nil
	}
	whole, err := s.model(ctx, m.GetName())
	if reason := apierr.ReasonOf(err); reason == apierr.ModelNotFound {
		return nil // it went meanwhile
	}
	if err != nil {
		return err
	}
	out.RegisteredModels = append(out.RegisteredModels, whole)
	return nil
}

// SearchModelVersions implements edgev1.MlflowServiceServer.
func (s *Server) SearchModelVersions(ctx context.Context, req *edgev1.SearchModelVersionsRequest) (*edgev1.SearchModelVersionsResponse, error) {
	conditions, err := parseFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	if err := checkOrder(req.GetOrderBy(), "version_number DESC", "creation_timestamp DESC", "last_updated_timestamp DESC"); err != nil {
		return nil, err
	}
	name := named(conditions)
	if name == "" {
		return nil, apierr.Invalid("filter", "the filter must name the model: name = 'x'")
	}
	out := &edgev1.SearchModelVersionsResponse{}
	aliases, err := s.aliases(ctx, name)
	if reason := apierr.ReasonOf(err); reason == apierr.ModelNotFound || reason == apierr.NotFound {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	token := req.GetPageToken()
	for range maxPages {
		page, err := s.registry.ListVersions(ctx, &registryv1.ListVersionsRequest{
			Model: name, PageSize: int32(min(results(req.GetMaxResults()), pageSize)), PageToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, v := range page.GetVersions() {
			if meets(conditions, name, runOf(v.GetLineage().GetTrainingRunUri()), v.GetLabels()) {
				out.ModelVersions = append(out.ModelVersions, versionOf(v, aliases))
			}
		}
		if token = page.GetNextPageToken(); token == "" || len(out.GetModelVersions()) > 0 {
			break
		}
	}
	out.NextPageToken = token
	return out, nil
}
