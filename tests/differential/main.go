// What the reference answers, for the tests of this project: one JSON value a line in, one out.
//
//	reference data-url   "<base64 of contents>"  ->  {"compression": "gzip", "url": "data:..."}
//	reference gzip       "<base64 of contents>"  ->  "<base64 of the gzip stream>"
//	reference decode     "data:..."              ->  null or the error
//	reference translate  {"text": "variant: ...", "files_dir": "", "pretty": false}  ->  {"json": "...", "report": "...", "error": ""}
//	reference validate   "<Ignition JSON>"       ->  null or the error and the report
//	reference unit       "[Unit]\n..."           ->  {"error": null, "installs": false}
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/coreos/butane/base/util"
	"github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
	"github.com/coreos/go-systemd/v22/unit"
	ignition "github.com/coreos/ignition/v2/config"
	"github.com/vincent-petithory/dataurl"
)

func main() {
	answers := map[string]func(json.RawMessage) (any, error){
		"data-url":  dataURL,
		"decode":    decode,
		"gzip":      zip,
		"translate": translate,
		"unit":      readUnit,
		"validate":  validate,
	}
	answer := answers[strings.Join(os.Args[1:], " ")]
	if answer == nil {
		fmt.Fprintln(os.Stderr, "usage: reference data-url|gzip|decode|translate|unit|validate, JSON lines on standard input")
		os.Exit(2)
	}
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for in.More() {
		var question json.RawMessage
		if err := in.Decode(&question); err != nil {
			fail(err)
		}
		result, err := answer(question)
		if err != nil {
			fail(err)
		}
		if err := encoder.Encode(result); err != nil {
			fail(err)
		}
		// A reader may wait for this answer before it asks again.
		if err := out.Flush(); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "reference:", err)
	os.Exit(1)
}

func text(question json.RawMessage) (text string, err error) {
	err = json.Unmarshal(question, &text)
	return
}

func dataURL(question json.RawMessage) (any, error) {
	encoded, err := text(question)
	if err != nil {
		return nil, err
	}
	contents, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	url, compression, err := util.MakeDataURL(contents, nil, true)
	return map[string]any{"compression": compression, "url": url}, err
}

func zip(question json.RawMessage) (any, error) {
	encoded, err := text(question)
	if err != nil {
		return nil, err
	}
	contents, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	var zipped bytes.Buffer
	writer, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(contents); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return zipped.Bytes(), nil
}

func decode(question json.RawMessage) (any, error) {
	url, err := text(question)
	if err != nil {
		return nil, err
	}
	if _, err := dataurl.DecodeString(url); err != nil {
		return err.Error(), nil
	}
	return nil, nil
}

func translate(question json.RawMessage) (any, error) {
	var document struct {
		Text     string `json:"text"`
		FilesDir string `json:"files_dir"`
		Pretty   bool   `json:"pretty"`
	}
	if err := json.Unmarshal(question, &document); err != nil {
		return nil, err
	}
	options := common.TranslateBytesOptions{Pretty: document.Pretty}
	options.FilesDir = document.FilesDir
	rendered, report, err := config.TranslateBytes([]byte(document.Text), options)
	answer := map[string]any{"json": string(rendered), "report": report.String(), "error": ""}
	if err != nil {
		answer["error"] = err.Error()
	}
	return answer, nil
}

func validate(question json.RawMessage) (any, error) {
	rendered, err := text(question)
	if err != nil {
		return nil, err
	}
	_, report, err := ignition.Parse([]byte(rendered))
	if err != nil {
		return err.Error() + "\n" + report.String(), nil
	}
	return nil, nil
}

func readUnit(question json.RawMessage) (any, error) {
	contents, err := text(question)
	if err != nil {
		return nil, err
	}
	options, err := unit.DeserializeOptions(strings.NewReader(contents))
	if err != nil {
		return map[string]any{"error": err.Error(), "installs": false}, nil
	}
	installs := false
	for _, option := range options {
		installs = installs || option.Section == "Install"
	}
	return map[string]any{"error": nil, "installs": installs}, nil
}
