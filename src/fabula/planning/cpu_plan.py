import json,sys,subprocess,tempfile,os
from pathlib import Path
CASES=[("llama",256,704,4,"qlora",16,512),("llama",256,704,4,"full",16,512),("gpt2",256,0,4,"lora",16,512),("llama",512,1408,8,"qlora",8,1024),("mistral",512,1408,4,"full",8,512),("llama",256,704,4,"qlora-again",32,512),("llama",384,1024,6,"lora",4,512)]
RUN='''
import sys,json,os
from pathlib import Path
import torch
from transformers import LlamaConfig,MistralConfig,GPT2Config,AutoModelForCausalLM,AutoTokenizer
kind,h,i,l,method,rows,length,folder,again=json.loads(sys.argv[1])
from fabula.engines.choose import embedded_folder
import shutil
V=5120
if kind=="gpt2": c=GPT2Config(n_embd=h,n_layer=l,n_head=4,vocab_size=V,n_positions=2048)
else:
    C={"llama":LlamaConfig,"mistral":MistralConfig}[kind]; c=C(hidden_size=h,intermediate_size=i,num_hidden_layers=l,num_attention_heads=4,num_key_value_heads=2,vocab_size=V,max_position_embeddings=2048,tie_word_embeddings=False)
p=Path(folder)/"model"
m=AutoModelForCausalLM.from_config(c); m.save_pretrained(p)
for f in embedded_folder().glob("tokenizer*"): shutil.copy(f,p)
'''
from fabula.planning.plan import *
from fabula.planning.machines import this_machine
from fabula.planning.configs import config_of
import yaml,dataclasses
mach=this_machine(); print(mach)
for kind,h,i,l,method,rows,length in CASES:
    again=method.endswith("again"); method=method.replace("-again","")
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([sys.executable,"-c",RUN,json.dumps([kind,h,i,l,method,rows,length,d,again])],check=True,capture_output=True)
        rec=dict(name="r",base_model=d+"/model",method=method,lora=dict(r=16,dropout=.05),data=[dict(corpus="sample")],sequence_length=length,micro_batch_size=rows,batch_size=rows,steps=3,evaluation=dict(max_documents=0),checkpoint=dict(every_minutes=None),dtype="bfloat16" if mach.bfloat16 else "float32",gradient_checkpointing=again)
        Path(d,"r.yaml").write_text(yaml.safe_dump(rec))
        out=subprocess.run([sys.executable,"-m","fabula","train",d+"/r.yaml","--runs",d+"/runs"],capture_output=True,text=True)
        if out.returncode: print(out.stderr[-500:]); continue
        rowsm=[json.loads(x) for x in Path(d,"runs/r/metrics.jsonl").read_text().splitlines()]
        peak=max(x.get("memory_mb",0) for x in rowsm)*1e6
        r=Recipe.model_validate(rec)
        t=trace(config_of(d+"/model"),r,torch.float32,mach.bfloat16,False)
        mem=memory_of(r,t,mach,rows,again)
        print(kind,h,l,method,again,rows,length,"measured MiB",round(peak/2**20),"planned",round(mem.total/2**20),f"{mem.total/peak-1:+.1%}",{k:round(v/2**20) for k,v in asdict(mem).items()},flush=True)
