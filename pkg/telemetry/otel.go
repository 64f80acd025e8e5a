package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// maxSeries bounds the series of one instrument: a label value that comes from
// outside by mistake fills one overflow series rather than the memory.
const maxSeries = 2000

// open makes the providers; what it opened is closed by Shutdown.
func (t *Telemetry) open(ctx context.Context, cfg Config) error {
	res := resource.NewSchemaless(
		attribute.String("service.name", t.Service),
		attribute.String("service.version", t.Version),
	)
	if err := t.openTraces(ctx, cfg, res); err != nil {
		return err
	}
	return t.openMetrics(ctx, cfg, res)
}

func (t *Telemetry) openTraces(ctx context.Context, cfg Config, res *resource.Resource) error {
	if cfg.OTLPEndpoint == "" {
		// Nobody receives spans, so none is recorded, but there are still trace
		// ids for the logs, and a caller's decision to sample still travels on.
		t.TracerProvider = unrecorded{}
		return nil
	}
	var exporter sdktrace.SpanExporter
	var err error
	if cfg.OTLPProtocol == "http" {
		exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(cfg.signalURL("traces")))
	} else {
		exporter, err = otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(cfg.endpointURL()))
	}
	if err != nil {
		return fmt.Errorf("telemetry: open the trace exporter: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
	)
	t.TracerProvider = provider
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}

func (t *Telemetry) openMetrics(ctx context.Context, cfg Config, res *resource.Resource) error {
	prom, err := otelprom.New(otelprom.WithRegisterer(t.Registry), otelprom.WithoutScopeInfo(),
		otelprom.WithoutTargetInfo(), otelprom.WithProducer(&t.histograms))
	if err != nil {
		return fmt.Errorf("telemetry: open the Prometheus exporter: %w", err)
	}
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(res), sdkmetric.WithReader(prom), sdkmetric.WithCardinalityLimit(maxSeries),
	}
	if cfg.OTLPEndpoint == "" {
		// No span is kept that one could name; looking for it costs more than counting.
		opts = append(opts, sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter))
	} else {
		t.exemplars = true
		var exporter sdkmetric.Exporter
		if cfg.OTLPProtocol == "http" {
			exporter, err = otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(cfg.signalURL("metrics")))
		} else {
			exporter, err = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpointURL(cfg.endpointURL()))
		}
		if err != nil {
			return fmt.Errorf("telemetry: open the metric exporter: %w", err)
		}
		opts = append(opts, sdkmetric.WithReader(
			sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithInterval(cfg.OTLPInterval))))
	}
	provider := sdkmetric.NewMeterProvider(opts...)
	t.MeterProvider = provider
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}
