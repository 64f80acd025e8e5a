package embedding

import (
	"context"
	"encoding/json"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// CountTokens returns how many tokens the model's own tokeniser makes of a text,
// its marks of beginning and end included, and how many the model takes; 0: not
// known. What an engine puts before passages by itself is not counted.
func (c *Client) CountTokens(ctx context.Context, model, text string) (n, limit int, err error) {
	body, err := json.Marshal(struct {
		Prompt string `json:"prompt"`
	}{text})
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.QueryTimeout)
	defer cancel()
	resp, err := c.inference.CountTokens(ctx, &inferencev1.CountTokensRequest{
		Model: model, Operation: workerv1.Operation_OPERATION_COMPLETION, Body: body,
	})
	if err != nil {
		return 0, 0, err
	}
	return int(resp.GetPromptTokens()), int(resp.GetContextLength()), nil
}
