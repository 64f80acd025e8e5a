package elastic

import (
	"github.com/poterne/poterne/services/search/internal/order"
)

// sorting is how Elasticsearch orders by the keys, ties by chunk id.
func sorting(keys []order.Key) []object {
	out := make([]object, 0, len(keys)+1)
	for _, k := range keys {
		direction := "asc"
		if k.Desc {
			direction = "desc"
		}
		how := object{"order": direction}
		if k.By != order.Score {
			how["missing"] = "_last"
		}
		out = append(out, object{orderField(k): how})
	}
	return append(out, object{fieldID: "asc"})
}

func orderField(k order.Key) string {
	switch k.By {
	case order.Title:
		return fieldTitle
	case order.ID:
		return fieldDocument
	case order.CreateTime:
		return fieldCreated
	case order.UpdateTime:
		return fieldUpdated
	case order.Score:
		return "_score"
	case order.Metadata:
		fallthrough
	default:
		return valueField(k.Path)
	}
}
