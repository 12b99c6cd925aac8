#!/bin/sh -e
# Makes the logs of this folder: `FFMPEG=… sh make.sh`, an ffmpeg with libvmaf and libx264. Each is of twelve frames at most.
# The speed that libvmaf writes as fps differs from run to run; the figures may, in the last digit, on other processors.
cd "$(dirname "$0")"
ffmpeg() { "${FFMPEG:-ffmpeg}" -hide_banner -loglevel error -nostdin -y "$@"; }
scratch=$(mktemp -d)

ffmpeg -f lavfi -i mandelbrot=size=160x90:rate=25 -frames:v 12 -pix_fmt yuv420p -c:v ffv1 "$scratch/ref.mkv"
ffmpeg -i "$scratch/ref.mkv" -c:v libx264 -preset veryfast -crf 36 -threads 1 "$scratch/dis.mkv"
score() { ffmpeg -i "$scratch/$1.mkv" -i "$scratch/ref.mkv" -lavfi "[0:v][1:v]libvmaf=n_threads=1:$2" -f null -; }

# One encode in each format; three models in one pass.
all='model=version=vmaf_v0.6.1|version=vmaf_v0.6.1neg\\:name=vmaf_neg|version=vmaf_v0.6.1\\:name=vmaf_phone\\:enable_transform=true'
for format in json xml csv sub; do
  score dis "$all:feature=name=psnr:log_fmt=$format:log_path=mandelbrot_libx264_36.$format"
done
# The float features; one model alone whose features have other names; every fifth frame.
score dis "model=version=vmaf_float_v0.6.1:log_fmt=json:log_path=float.json"
score dis "model=version=vmaf_v0.6.1neg:log_fmt=json:log_path=neg_alone.json"
score dis "n_subsample=5:log_fmt=json:log_path=subsampled.json"
# Nothing is lost between a video and itself: ciede2000 is infinite.
for format in json xml csv; do
  score ref "feature=name=ciede:log_fmt=$format:log_path=identical.$format"
done
rm -r "$scratch"
