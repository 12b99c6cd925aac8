#!/bin/sh -e
# Encodes short videos that ffmpeg generates and scores them with libvmaf: logs/<source>_<codec>_<crf>.json, and in unseen/
# the same of two other sources. About two minutes. FFMPEG names an ffmpeg with libvmaf and libx264.
ffmpeg=${FFMPEG:-$(python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')}
run() { "$ffmpeg" -hide_banner -loglevel error -nostdin -y "$@"; }

score() { # directory, source, lavfi source
  mkdir -p "$1"
  run -f lavfi -i "$3" -frames:v 50 -pix_fmt yuv420p -c:v ffv1 reference.mkv
  for crf in 20 26 32 38 44 50; do
    run -i reference.mkv -c:v libx264 -preset veryfast -crf $crf encode.mkv
    log=$1/$2_libx264_$crf.json
    run -i encode.mkv -i reference.mkv -lavfi "[0:v][1:v]libvmaf=log_fmt=json:log_path=$log:model=$models" -f null -
  done
  rm reference.mkv encode.mkv
}

models='version=vmaf_v0.6.1|version=vmaf_v0.6.1\\:name=vmaf_phone\\:enable_transform=true'
size=size=256x144:rate=25
score logs testsrc2 "testsrc2=$size"
score logs mandelbrot "mandelbrot=$size"
score logs life "life=$size:mold=10:ratio=0.1:death_color=#403020:life_color=#d0f0c0"
score logs gradients "gradients=$size:speed=0.05:seed=7"
score logs zoneplate "zoneplate=$size:ku=2:kv=1:kt=3:kx2=40:ky2=40"
score logs perlin "perlin=$size:octaves=4:xscale=4:yscale=4:random_mode=seed:seed=3"
score logs mptestsrc "mptestsrc=rate=25,scale=256:144"
score logs smptehdbars "smptehdbars=$size,scroll=horizontal=0.01,noise=alls=12:allf=t"
score logs sierpinski "sierpinski=$size"
score logs cellauto "cellauto=$size:rule=110"
score unseen testsrc "testsrc=$size"
score unseen rgbtestsrc "rgbtestsrc=$size,rotate=t/3"
