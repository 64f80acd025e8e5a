package mlflow

import (
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestFilters(t *testing.T) {
	labels := map[string]string{"team": "botany", "a.b/c": "x"}
	for filter, want := range map[string]bool{
		"":                                true,
		"name='m1'":                       true,
		`name = "m1" and run_id='r'`:      true,
		"name LIKE 'm%'":                  true,
		"name LIKE 'M%'":                  false,
		"name ILIKE 'M_'":                 true,
		"name LIKE 'm.'":                  false,
		"tags.team = 'botany'":            true,
		"tag.`a.b/c` = 'x'":               true,
		"tags.none = 'x'":                 false,
		"tags.none LIKE '%'":              false,
		"tag.`mlflow.prompt` != 'true'":   true,
		"tags.team != 'botany'":           false,
		"name='m1' AND tags.team='other'": false,
	} {
		conditions, err := parseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := meets(conditions, "m1", "r", labels); got != want {
			t.Errorf("%s: got %v, want %v", filter, got, want)
		}
	}
	for _, filter := range []string{"name", "name > 'a'", "size = '3'", "name = 'a' OR name = 'b'", "name='a", "AND", "name='a' AND AND"} {
		if _, err := parseFilter(filter); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", filter, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("name LIKE 'm%' AND tags.`a b` != 'x'")
	f.Fuzz(func(_ *testing.T, filter string) {
		conditions, err := parseFilter(filter)
		if err == nil {
			meets(conditions, "m", "r", nil)
		}
	})
}

func TestRunsAreRead(t *testing.T) {
	for uri, want := range map[string]string{
		"runs:/abc": "abc", "http://h/api/2.0/mlflow/runs/get?run_id=abc": "abc", "https://ci/run/3": "", "": "", ":": "",
	} {
		if got := runOf(uri); got != want {
			t.Errorf("%s: got %q, want %q", uri, got, want)
		}
	}
}
