package leak

import (
	"net/url"
	"time"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Config is leak_watch.
type Config struct {
	Enabled             bool           `yaml:"enabled" jsonschema_description:"Watch the agent's own goroutines, descriptors and memory for growth that no load explains, and turn /health to degraded and unhealthy when there is some."`
	Interval            units.Duration `yaml:"interval" jsonschema_description:"How often; 1s to 1m. A leak is told after six looks, and not before 90s."`
	GoroutinesPerMinute float64        `yaml:"goroutines_per_minute" jsonschema_description:"Growth over what the load explains, of one owner's goroutines, streams, files or other things, that is an alarm when it lasts ten minutes. Over 90 seconds five times as much is, over an hour a quarter."`
	DescriptorsShare    float64        `yaml:"descriptors_share" jsonschema_description:"Share of the limit of open descriptors that is an alarm; 0.8 of it is unhealthy in any case."`
	HeapPerMinute       units.Size     `yaml:"heap_per_minute" jsonschema_description:"Growth of the live heap over what the load explains that is an alarm when it lasts ten minutes. Over 90 seconds five times as much is, over an hour a quarter."`
	WebhookURL          units.Secret   `yaml:"webhook_url" jsonschema_description:"Where every change of the verdict is posted as JSON; empty: nowhere. It is treated as a secret."`
	Keep                int            `yaml:"keep" jsonschema_description:"How many bundles of dumps are kept in data_dir/diagnostics; 0: none are written."`
}

// DefaultConfig is what the agent runs with when the file says nothing.
func DefaultConfig() Config {
	return Config{
		Enabled: true, Interval: units.Duration(15 * time.Second),
		GoroutinesPerMinute: 2, DescriptorsShare: 0.2, HeapPerMinute: 4 * units.MiB, Keep: 5,
	}
}

// Validate reports settings that make no sense.
func (c Config) Validate() []units.FieldError {
	var errs []units.FieldError
	if c.Interval < units.Duration(time.Second) || c.Interval > units.Duration(time.Minute) {
		errs = append(errs, units.Errorf("interval", "%s is out of range; expected 1s to 1m", c.Interval))
	}
	if !(c.GoroutinesPerMinute > 0) {
		errs = append(errs, units.Errorf("goroutines_per_minute", "%g would alarm without growth; expected more than 0, such as 2", c.GoroutinesPerMinute))
	}
	if !(c.DescriptorsShare > 0 && c.DescriptorsShare <= 1) {
		errs = append(errs, units.Errorf("descriptors_share", "%g is no share; expected more than 0, at most 1, such as 0.2", c.DescriptorsShare))
	}
	if c.HeapPerMinute < 64*units.KiB {
		errs = append(errs, units.Errorf("heap_per_minute", "%s is less than the heap's noise; expected 64KiB or more, such as 4MiB", c.HeapPerMinute))
	}
	if c.Keep < 0 || c.Keep > 1000 {
		errs = append(errs, units.Errorf("keep", "%d is out of range; expected 0 to 1000", c.Keep))
	}
	if !c.WebhookURL.IsZero() {
		u, err := url.Parse(c.WebhookURL.Reveal())
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, units.Errorf("webhook_url", "this is no URL to post to; expected http://… or https://…"))
		}
	}
	return errs
}
